"""What every driver needs and no driver should write again. Pure and public, for programs that embed the core."""
