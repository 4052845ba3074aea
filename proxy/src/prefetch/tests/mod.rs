//! Whole nights against a site that is a table, with time that stands still.

mod nights;
mod stand_in;
