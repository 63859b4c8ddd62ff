//! The command line as scripts meet it: the built program against tables in temporary directories.
//!
//! | module | asserts |
//! | --- | --- |
//! | `golden` | what every verb prints, as text and as JSON, against `tests/golden/` |
//! | `exit_codes` | each class of errors: exit code, stream, form, and that nothing has changed |
//! | `lookup` | objects by address, MAC and port; ids that are misspelt; what may be there or not |
//! | `table` | which table, when one is made, `backup` and `restore` |
//! | `table_file` | `apply` and `export` |
//! | `processes` | several processes at once, closed pipes, `--wait`, completions |

mod bench;
mod exit_codes;
mod golden;
mod lookup;
mod processes;
mod table;
mod table_file;
