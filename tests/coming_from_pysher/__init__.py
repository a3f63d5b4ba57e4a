"""Programs written for Pysher, run on Pysher itself and on `pusher_sync.pysher`; what differs is in a table."""
