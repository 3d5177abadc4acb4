"""I/O outward: pooled clients, timeouts, proxies, the sandbox's transport."""
