"""What every image task needs of its data: readers, augmentation, fitting to a size, the catalog and the split."""
