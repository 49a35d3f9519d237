"""Trained networks outside of this project's data sets: segment by segment, and in other tools' formats."""
