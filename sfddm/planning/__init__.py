"""What a spec's pipeline will take, told before it runs: `sfddm plan`."""
