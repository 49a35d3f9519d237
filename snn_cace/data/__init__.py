"""Clips: AVE's layout on disk, labels from annotations, the embedded data set AV-Digits, and batches."""
