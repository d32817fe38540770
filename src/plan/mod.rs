//! Decides what will be done with every record. Pure: manifest settings, records and facts in, plan out.
