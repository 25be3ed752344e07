"""Answers: may this run pass? A pure function of a report and a policy."""
