"""The rest of OpenAI's and Anthropic's APIs: what a request or an answer names.

Pure. What is relayed as it stands is not modelled; here is told only which words of
a path are no ids, which names hold ids, what a route costs, and how lists look.
"""
