"""What the compatible APIs are made of: how their words become requests, and jobs their answers."""
