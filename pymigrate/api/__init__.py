"""The machine as a Python object: what `import pymigrate` offers."""
