"""Batches that providers work on themselves: what is asked, and how they answer.

One module for each way of speaking; a provider's row names it.
"""
