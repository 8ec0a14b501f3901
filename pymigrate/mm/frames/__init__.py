"""Physical memory: frames in use, free memory and its allocation, pageblocks, LRU batches."""
