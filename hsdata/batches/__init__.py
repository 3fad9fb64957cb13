"""From stored samples to batches: crops, augmentation, what stays in memory."""
