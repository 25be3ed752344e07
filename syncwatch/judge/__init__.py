"""Decides whether a run may pass. A pure function of a report and a policy."""
