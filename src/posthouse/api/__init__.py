"""The data plane's routes: thin handlers, one module per API family."""
