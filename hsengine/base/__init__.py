"""What every command needs, without torch: errors, whole files, wording, parameters, workers, code identity."""
