"""The report that a person opens in a browser: one file with the figures, the lines and the timeline."""
