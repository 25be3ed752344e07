"""The SQLite export of Nsight Systems: read into processes, and written for `nsys stats` and `nsys analyze`."""
