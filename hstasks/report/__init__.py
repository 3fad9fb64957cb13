"""What the reports of the challenges share: the page around their own parts, and pictures to choose from."""
