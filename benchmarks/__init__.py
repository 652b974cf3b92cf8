"""Side by side with peers, in one process, as ratios. Timing lives here and never in the tests."""
