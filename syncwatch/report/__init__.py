"""Shows a report. One format a file; a reporter returns text and opens nothing."""
