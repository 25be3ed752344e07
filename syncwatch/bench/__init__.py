"""Answers: how is a scenario run, paced and timed?"""
