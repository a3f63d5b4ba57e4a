"""Programs of others beside ours: pusher-js and the official HTTP library, on our server and on Soketi."""
