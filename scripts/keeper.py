"""Placeholder until the keeper lands."""
import time
time.sleep(10**9)
