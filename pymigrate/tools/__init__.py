"""The numactl package's programs (2.0.19), as functions from arguments to output and status."""
