//! Templates become bytes, twice: really and with placeholders for secrets.
