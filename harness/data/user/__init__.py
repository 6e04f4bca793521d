"""User data sets, from a file, folder or arrays to a stored data set (`stored`)."""

from harness.data.user.stored import Data, SourceOptions, check_facts, data_name, described_options, descriptions
from harness.data.user.values import pixels_of

__all__ = ["Data", "SourceOptions", "check_facts", "data_name", "described_options", "descriptions", "pixels_of"]
