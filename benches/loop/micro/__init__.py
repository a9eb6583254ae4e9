"""Small programs inside one loop, timed: each file holds those of one subject.

A program takes how often to do its thing and a `Watch`, which it starts and stops around what
counts.
"""
