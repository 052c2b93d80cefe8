"""What a report says, whatever it is written in: headline, sections, advice and captions."""
