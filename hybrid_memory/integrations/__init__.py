"""The same memory in the shapes other libraries expect; each module needs its own extra and is imported by itself."""
