//! Files and folders of the user's: what a disk can do, and names on it that nobody else has.
//!
//! Owns open folders, what is known of their disks, and the names reserved in them. May use the model, errors and words; knows no queue and no network.
//! A cancelled call leaves a part file, never half a name.

pub(crate) mod disk;
pub(crate) mod disk_calls;
pub(crate) mod folder;
pub(crate) mod origin_mark;
pub(crate) mod own_file;
pub(crate) mod own_folder;
pub(crate) mod part_file;
pub(crate) mod reserved_names;
pub(crate) mod whole;
