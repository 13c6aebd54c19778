"""Git LFS: the pointers that git holds in place of files, and the download of the files."""
