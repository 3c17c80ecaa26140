"""One file for each revision, named r<number>_<what>.py, never edited once released."""
