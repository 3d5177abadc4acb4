"""One package per wire language: parse and render, pure and symmetric."""
