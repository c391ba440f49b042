//! Everything that Ferry says about its work: what happened, why, what to do, the history, the notes.
//!
//! A sentence is data: its name and what stands in its blanks. The terminal reads it in English, from here; the window says
//! it in its own language, from `ui/messages/` (`say_…`). What a service or the system said stays in its words, as far as
//! they are fit to be shown ([`Foreign`]); so does what stands in the blanks.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::foreign::Foreign;
use crate::service::{self, About};
use crate::shell_command::ShellCommand;
use crate::transfer::{TransferId, Verified};
use crate::units::Units;
use crate::upload_method::UploadMethod;

/// A sentence of Ferry's own, or words of others: a service's, the system's, or those of a Ferry that wrote
/// everything in English.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(untagged)]
#[ts(export, export_to = "types.ts")]
pub enum Words {
    /// Ferry's own. In a box, as rows hold some of these and there are many rows.
    Own(Box<Phrase>),
    /// Somebody else's.
    Said(Foreign),
}

impl Words {
    /// How it is kept in a column of text: words as they came are that text, so that older lists are read alike.
    pub(crate) fn to_column(&self) -> String {
        match self {
            // Somebody else's never begin with a blank, so what looks like a sentence of Ferry's is not read as one.
            Self::Said(text) if text.starts_with('{') => format!(" {text}"),
            Self::Said(text) => text.to_string(),
            Self::Own(phrase) => serde_json::to_string(phrase).unwrap_or_else(|_| phrase.to_string()),
        }
    }

    /// Reads such a column.
    pub(crate) fn from_column(text: String) -> Self {
        let phrase = text.starts_with("{\"is\":").then(|| serde_json::from_str(&text).ok()).flatten();
        phrase.map_or_else(|| Self::Said(text.into()), Self::Own)
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(phrase) => phrase.fmt(f),
            Self::Said(text) => text.fmt(f),
        }
    }
}

impl From<Phrase> for Words {
    fn from(phrase: Phrase) -> Self {
        Self::Own(Box::new(phrase))
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::Said(text.into())
    }
}

impl From<Foreign> for Words {
    fn from(text: Foreign) -> Self {
        Self::Said(text)
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::Said(text.into())
    }
}

/// A number of bytes in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(transparent)]
#[ts(export, export_to = "types.ts", type = "number")]
pub struct Size(pub u64);

/// Whether sizes are shown in steps of 1024 in this process: as the settings say of the engine that was opened or changed last.
static IS_BINARY: AtomicBool = AtomicBool::new(false);

impl Size {
    /// Shows every size of this process in these units from now on.
    pub(crate) fn show_in(units: Units) {
        IS_BINARY.store(units.is_binary(), Ordering::Relaxed);
    }

    /// `14 B`, `1.0 kB`, `816 MB`, in steps of 1000 or 1024: three figures at most, the last of them rounded half up. The page
    /// writes the same (`ui/src/words/format.ts`).
    pub fn shown(self, units: Units) -> String {
        const DECIMAL: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
        const BINARY: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let (names, base) = if units.is_binary() { (BINARY, 1024) } else { (DECIMAL, 1000) };
        let bytes = u128::from(self.0);
        let (mut step, mut unit) = (0, 1_u128);
        // 999.5 would be rounded to 1000: it belongs to the next unit.
        while bytes * 10 >= 9_995 * unit && step + 1 < names.len() {
            (step, unit) = (step + 1, unit * base);
        }
        let name = names[step];
        if step > 0 && bytes * 100 < 995 * unit {
            let tenths = (bytes * 20 + unit) / (unit * 2);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        } else {
            format!("{} {name}", (bytes * 2 + unit) / (unit * 2))
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = if IS_BINARY.load(Ordering::Relaxed) { Units::Binary } else { Units::Decimal };
        f.pad(&self.shown(units))
    }
}

/// A number of things in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Serialize, Deserialize, TS)]
#[serde(transparent)]
#[ts(export, export_to = "types.ts", type = "number")]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(transparent)]
#[ts(export, export_to = "types.ts", type = "number")]
pub struct Seconds(pub u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who answered: the id of a service, `server` for the one behind a link, `store` for the one behind a signed URL.
/// Faces have a name for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(transparent)]
#[ts(export, export_to = "types.ts", type = "string")]
pub struct Peer(String);

impl Peer {
    /// The service of this id. What is behind a link is no service with a name, but a server.
    pub(crate) fn service(id: &str) -> Self {
        let is_any_link = service::about(id).is_some_and(About::is_any_link);
        Self(if is_any_link { "server" } else { id }.to_owned())
    }

    /// The service that it is, if it is one.
    pub(crate) fn about(&self) -> Option<&'static About> {
        service::about(&self.0)
    }

    /// The store behind a signed URL.
    pub(crate) fn store() -> Self {
        Self("store".to_owned())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.as_str() {
            "server" => "The server",
            "store" => "The store",
            id => service::about(id).map_or(id, |about| about.name),
        })
    }
}

/// A way of sending, in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(transparent)]
#[ts(export, export_to = "types.ts", type = "UploadMethod")]
pub struct Way(pub UploadMethod);

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            UploadMethod::Auto => "the usual way",
            UploadMethod::Put => "a plain PUT",
            UploadMethod::Post => "a form POST",
            UploadMethod::PostRaw => "a plain POST",
            UploadMethod::Resumable => "a resumable session",
        })
    }
}

/// Both in one sentence.
pub(crate) fn what_and_why(what: &Words, why: Option<&Words>) -> Words {
    let Some(why) = why else { return what.clone() };
    Phrase::WhatAndWhy { what: what.clone(), why: why.clone() }.into()
}

/// A path in a sentence.
pub(crate) fn shown(path: &Path) -> Foreign {
    Foreign::path(path)
}

macro_rules! phrases {
    ($( $name:ident $({ $($blank:ident: $kind:ty),+ })? = $english:literal; )+) => {
        /// Each sentence of Ferry's own. None is ever renamed: lists on disk hold them.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
        #[serde(tag = "is", rename_all = "snake_case")]
        #[ts(export, export_to = "types.ts")]
        #[allow(missing_docs, reason = "a blank says in its sentence what it is")]
        pub enum Phrase {
            $( #[doc = $english] $name $({ $($blank: $kind),+ })?, )+
        }

        impl fmt::Display for Phrase {
            /// In English, without the full stop.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$name $({ $($blank),+ })? => write!(f, $english), )+
                }
            }
        }
    };
}

phrases! {
    // ---- what happened: services ----
    KeyRefused { service: Peer } = "{service} refused the key";
    PauseAsked { service: Peer } = "{service} asks for a pause";
    LimitOrInvalid { service: Peer } = "{service} says that a limit was exceeded: too many requests, or one that is not valid";
    NothingLeft { service: Peer } = "{service} has nothing left for this account: its balance or its space is used up";
    PaymentAsked { service: Peer } = "{service} wants to be paid for this first";
    NotLetIn { service: Peer } = "{service} does not let this account or this computer in";
    KeyNotForThis { service: Peer } = "{service} does not let this key do that";
    MethodNotTaken { service: Peer } = "{service} does not take this kind of request";
    TypeNotTaken { service: Peer } = "{service} does not take this type";
    SizeNotTaken { service: Peer } = "{service} does not take anything this large";
    ThereAlready { service: Peer } = "{service} says that this was done already";
    OtherBytesCame { service: Peer } = "{service} received other bytes than were announced";
    InAnotherRegion { service: Peer } = "{service} keeps this in another region than the URL is signed for";
    IsArchived { service: Peer } = "{service} has this in an archive, from where it must be brought back first";
    ItemNotThere { service: Peer } = "{service} does not have this item";
    ItemNotThereOrTrouble { service: Peer } = "{service} does not have this item, or has trouble";
    ItemNotFinished { service: Peer } = "{service} has not finished this item yet";
    ServiceHasTrouble { service: Peer } = "{service} has trouble";
    ServiceRefused { service: Peer } = "{service} refused";
    UnexpectedAnswer { service: Peer } = "{service} gave an answer that Ferry does not understand";
    EndlessAnswer { service: Peer } = "{service} sent an answer without end";
    NoUploadsThere { service: Peer } = "{service} does not take uploads";
    NoConfirmationThere { service: Peer } = "{service} does not confirm uploads";
    NoDownloadsThere { service: Peer } = "{service} does not offer downloads";
    NoInformationThere { service: Peer } = "{service} does not give information about its files";
    NoDeletionThere { service: Peer } = "{service} does not delete files";
    NoAddressYet { service: Peer } = "{service} has no address yet";
    NoKeyYet { service: Peer } = "{service} needs a key and has none";
    NoKeyForAddress { service: Peer } = "{service} has no key for this address";
    AtAnotherAddress { service: Peer } = "{service} has another address now than when this was given to it";
    KeyUnneeded { service: Peer } = "{service} takes no key";
    IdsOnly { service: Peer } = "{service} takes ids, not links";
    AddressUnusable { service: Peer } = "The address of {service} cannot be used";
    AddressTooLong { service: Peer } = "The address of {service} must end before any `?` or `#`";
    ServiceUnknown { id: Foreign } = "There is no service `{id}`";
    IdUnusable = "This is not an id";
    ChecksumUnusable = "This is no checksum that a file can be held to";
    AssetUnknown { service: Peer, id: Foreign } = "{service} does not know the asset `{id}`";
    AssetNotThere { service: Peer } = "{service} does not have this asset";
    VideoUnknown { service: Peer, id: Foreign } = "{service} does not know the video `{id}`";
    VideoNotProcessed { service: Peer } = "{service} could not process this video";
    SignedUrlOfService = "The service’s signed URL cannot be used";
    JobUnknown { id: Foreign } = "The media server does not know `{id}`";
    JobWithoutId = "The media server began a download without an id";
    JobFailed = "The media server could not fetch this page";
    JobCanceled = "The job was canceled on the media server";
    JobStuck { seconds: Seconds } = "The media server has made no progress for {seconds} s";
    JobVanished = "The job has vanished from the media server";
    PageAddressUnusable = "This page’s address cannot be used";
    SandboxNotStarted = "The sandbox did not start";
    SandboxRefusedItsKey = "The sandbox refused its own key";
    LinkNotKept = "The link is no longer kept";
    LinkUnusable = "This link cannot be used";
    LinkRefused = "The server does not give this file to everyone";
    KeyUnusable = "The key holds characters that no key has";
    NoKeyGiven = "This is not a key: it is empty or holds characters that no key has";
    KeyFromVariable { service: Peer } = "The key of {service} comes from an environment variable";
    KeyNotRemoved = "The keychain did not remove the key";
    KeychainSilent = "The keychain does not answer";

    // ---- what happened: on the network ----
    NoNetwork = "This computer has no network";
    ServerNotFound = "The server's name was not found";
    NoSecureConnection = "A secure connection could not be made";
    NoAnswerInTime = "The server did not answer in time";
    ProxyWantsSignIn = "The proxy wants to know who you are before it connects (407)";
    ProxyDidNotConnect = "The proxy did not connect to the server";
    ServerNotReached = "The server could not be reached";
    RequestImpossible = "The request could not be made";
    NoValidHttp = "The server’s answer is not valid HTTP";
    ConnectionBroke = "The connection broke before everything had arrived";
    NothingMoved { seconds: Seconds } = "Nothing moved for {seconds} seconds";
    TooManyRedirects = "The server redirected more than ten times";
    WantsCookies = "The site redirects for ever, as it wants cookies back that it does not accept";
    RedirectUnreadable = "The server redirected to something unreadable";
    RedirectToNoAddress = "The server redirected to something that is not an address";
    RedirectOutOfTheWeb = "The server redirected to something that is not a web address";
    MoreThanNamed = "The server sent more than it said, so that nobody knows which bytes belong where";
    TwoSizesOfOne = "The server gives two sizes for one and the same version of the file";
    RedirectUnencrypted = "The server redirected from an encrypted address to an open one";
    RedirectWithUserName = "The server redirected to an address with a user name in it";
    LedInward = "A server outside led to an address inside your own network";
    RedirectNotAllowed = "The service redirected a request that must not be redirected";
    FewerConnections = "The server wants fewer connections";
    ServerTakesSoMany { most: Count } = "This server takes no more than {most} at a time";
    TroubleWithConnections = "The server has trouble with several connections";
    PartNotGiven = "The server did not give the part that was asked for";
    ConnectionEndedEarly = "The connection ended before the file did";

    // ---- what happened: downloads ----
    KeepsChanging = "The file keeps changing at its source";
    PartNotAskedFor { service: Peer } = "{service} sent a part of the file that was not asked for";
    AnsweredUnchanged = "The server said that nothing has changed, though that was not the question";
    NoContentThere = "The server says that there is no content";
    NotReadyThere { service: Peer } = "{service} has not finished making the file";
    ServerPreparesAnswer = "The server is getting the file ready; it has not answered yet";
    StoreSaysExists = "The store says that it has the file already; the service is asked whether it is this one";
    SentCompressed = "The server sent the file compressed although that was not asked for";
    SentNothing = "The service sent nothing";
    LinkExpired = "The link has expired";
    SentPage { service: Peer } = "{service} sent a web page instead of the file";
    SentMessage { service: Peer } = "{service} sent a message instead of the file";
    CameIncomplete = "The file arrived incomplete";
    OtherSizeListed = "The service lists this file with another size than it sends";
    NotAsDescribed = "The file that arrived is not the one that the server described";
    NotTheOneMeant = "The file that arrived does not have the checksum that was given for it";
    DiskFull = "The disk is full";
    NoRoom = "There is not enough room on the disk";
    PartFileOpenElsewhere = "Another program has the part file open";
    TooManyOldParts = "There are too many old parts of this file";
    PartFileReplaced = "Something else took the place of the part file";
    PartNameTaken = "Something else has the part file's name";
    TooManyOfThatName { name: Foreign } = "There are too many files called `{name}` already";
    DriveGone { folder: Foreign } = "The drive with `{folder}` is no longer there";
    FolderSilent { folder: Foreign } = "The folder `{folder}` does not answer";

    // ---- what happened: uploads ----
    SignedUrlExpired = "The signed URL has expired";
    SignedUrlNotYetValid = "The signed URL is not valid yet";
    SignedUrlNotKept = "The signed URL is no longer kept";
    SignedUrlUnusable = "The signed URL cannot be used";
    NoSignedUrl = "This is not a signed URL";
    UnknownSignedHeaders = "The signed URL requires headers whose values Ferry cannot know";
    SignedForEmptyFile = "The URL was signed for an empty file";
    SignedForOtherBytes = "The URL was signed for a file with other content";
    SignedForAnotherType { tried: Foreign } = "The signature covers the type of the content, and the store takes none of these: {tried}";
    SignedForAnotherRegion { region: Foreign } = "The URL was signed for another region than {region}, where the store keeps this";
    StoreLeadsElsewhere { host: Foreign } = "The store leads to {host}, for which this URL is not good";
    StoreLeadsOn = "All of the file was sent, and the store leads to a page instead of saying that it has it; the file may be there";
    SignatureRefused = "The store refused the signed URL’s signature";
    StoreHasTooMuch = "The store says it has more than the file";
    StoreHasUnsent = "The store says it has more than it was sent";
    SessionOfOtherBytes = "The upload session behind this URL holds bytes that are not of this file";
    SessionDoneBefore = "The upload session behind this URL was finished before, and nothing shows that it took this file";
    SignInPageCame = "A login page came instead of the store’s answer";
    TakenForLater = "The store took the file for later and did not say that it is stored";
    StoredUnsaid = "The store answered as if it had a part of the file, and did not say that it has all of it";
    AnswerCut = "The store’s answer broke off in the middle";
    MayBeThere = "All of the file was sent before and the answer got lost; the file may be there";
    UrlTakesOnePart = "This URL takes one part of an upload that is made of several, not a whole file";
    StoreKeepsNothing = "The store does not keep what it is sent";
    StoredTooEarly = "The store said that it has the file before all of it was sent";
    LargerThanStoreTakes { limit: Size } = "The file is larger than the {limit} that the store takes in one request";
    StoreUnclear = "The store did not say clearly how much it has";
    SessionUnusable = "The store’s session cannot be used";
    SessionWithoutPlace = "The store opened a session without saying where it is";
    SessionForgotten = "The store no longer knows the upload session";
    StoreHasOther = "The store has something other than what was sent";
    StoreNamesOther = "The store names something other than what was sent, in words of its own";
    ServiceHasOther = "The service has something other than what was sent";
    FileNotTaken = "The service could not use the file";
    SourceChanged { path: Foreign } = "`{path}` changed while it was being sent";

    // ---- what happened: files and what was asked for ----
    FileFailed { doing: Foreign, path: Foreign } = "{doing} `{path}` failed";
    IsFolder { path: Foreign } = "`{path}` is a folder, not a file";
    IsDevice { path: Foreign } = "`{path}` is a pipe or a device, not a file";
    OwnData { path: Foreign } = "`{path}` belongs to what Ferry keeps for itself, which it sends nowhere";
    LeadsElsewhere { path: Foreign } = "`{path}` is not the file any more that was chosen: it is a link now, or lies behind one";
    SizeUntold { path: Foreign } = "`{path}` does not hold as much as its size says";
    NameNotText { path: Foreign } = "The name of `{path}` is not valid text";
    NoFilesGiven = "There is no file in what was given";
    NothingToDownload = "There is nothing to download";
    LinkNotFetchable = "This is not a link that Ferry can fetch";
    FolderUnusable = "This folder cannot be used";
    OwnUrlTakesNoService = "A signed URL of your own needs no service";
    HeadersForUrlsOnly = "Headers can be given for links and signed URLs only";
    HeaderUnusable { name: Foreign } = "The header `{name}` cannot be sent";
    SignedUrlTakesOneFile { count: Count } = "A signed URL takes one file, not {count}";
    OnlyDownloadsHaveFolder = "Only a download has a target folder";
    AlreadyFinished = "This download is finished";
    TransferUnknown { id: TransferId } = "There is no transfer {id}";
    NotCompleteYet = "The file is not complete yet";
    FileGone { path: Foreign } = "`{path}` is not there any more";
    FileNotOpened = "The file could not be opened";
    FolderNotShown = "The folder could not be shown";
    ChoiceNotNoted = "The choice could not be saved";
    NotCopied = "The text could not be copied";
    NotPasted = "The clipboard could not be read";
    NothingPressed = "Nothing was pressed or clicked for this";
    FaultInside = "Something went wrong inside Ferry";
    NotSent { path: Foreign } = "`{path}` was not sent";
    NothingChanged = "Nothing was changed";
    NothingFetchedFrom { place: Foreign } = "Nothing is fetched from {place}";
    WindowSendsToServices = "The window sends to services only";
    WindowSavesToDownloads = "The window saves to the Downloads folder only";
    DesktopRefused = "The desktop did not accept the change";
    Stopped = "The transfer was stopped";
    OtherFerry { folder: Foreign } = "Another Ferry is using `{folder}`";
    HolderSilent { pid: Foreign } = "The Ferry that holds the queue, process {pid}, does not answer";
    HolderTooOld { version: Foreign } = "The Ferry that holds the queue is of version {version}, which this one no longer understands";
    HolderTooNew { version: Foreign } = "The Ferry that holds the queue is of version {version}, which this one does not understand yet";
    RequestTooLong = "What was asked for is longer than one request may be";
    FolderOfAnother { folder: Foreign } = "`{folder}`, where Ferry would keep its data, belongs to another user";
    FolderOpen { folder: Foreign } = "Other users can write to `{folder}`, where Ferry keeps its data";
    FolderReplaceable { folder: Foreign, place: Foreign } = "Other users can put another folder in the place of `{folder}`, where Ferry keeps its data, as `{place}` is theirs or open to them";
    FileOfAnother { path: Foreign } = "`{path}`, in the folder where Ferry keeps its data, belongs to another user";
    FileOpen { path: Foreign } = "Other users can write to `{path}`, in the folder where Ferry keeps its data";
    FileWithSecondName { path: Foreign } = "`{path}`, in the folder where Ferry keeps its data, has another hard link elsewhere, and may be somebody else's";
    NoLibraryInFile = "The file does not hold a Ferry library";
    NoSettingsInFile = "The file does not hold Ferry settings";
    UploadsOutOfRange { low: Count, high: Count, value: Count } = "The number of uploads at a time must be between {low} and {high}, not {value}";
    DownloadsOutOfRange { low: Count, high: Count, value: Count } = "The number of downloads at a time must be between {low} and {high}, not {value}";
    ConnectionsOutOfRange { low: Count, high: Count, value: Count } = "The number of connections must be between {low} and {high}, not {value}";
    AttemptsOutOfRange { low: Count, high: Count, value: Count } = "The number of attempts must be between {low} and {high}, not {value}";
    DownloadLimitTooLow = "The download limit must be at least 1 KiB a second";
    UploadLimitTooLow = "The upload limit must be at least 1 KiB a second";
    FolderNotInFull = "The Downloads folder must be a full path";
    ListOfNewerFerry { path: Foreign } = "The list of transfers in `{path}` was written by a newer Ferry";
    ListNotOpened { path: Foreign } = "The list of transfers in `{path}` cannot be opened";
    ListNotWritten = "The list of transfers could not be written";

    // ---- why ----
    MoreNeeded { needed: Size, folder: Foreign } = "{needed} more is needed in `{folder}`";
    OnlyArrived { done: Size, total: Size } = "{done} of {total} arrived";
    SizeListed { sent: Count, listed: Count } = "{sent} bytes are sent, {listed} are listed";
    AreMissing { missing: Size } = "{missing} are missing";
    ChecksumCame { algorithm: Foreign, got: Foreign, expected: Foreign } = "its {algorithm} is {got}, but {expected} was expected";
    ChecksumThere { algorithm: Foreign, there: Foreign, here: Foreign } = "its {algorithm} is {there}, the file’s is {here}";
    HoldsTheForm { more: Count } = "it holds {more} more bytes: the form around the file was stored with it";
    HoldsAnotherSize { there: Count, here: Count } = "it holds {there} bytes, the file has {here}";
    IsLocked { path: Foreign } = "`{path}` is locked";
    NotWhatWasWritten { path: Foreign } = "`{path}` is not what was written";
    NotTheBeginning { target: Foreign, old: Foreign } = "`{target}` is not the beginning of `{old}`";
    HasEncoding { encoding: Foreign } = "its encoding is `{encoding}`";
    LeadsToScheme { scheme: Foreign } = "the new address begins with `{scheme}:`";
    IsInside { place: Foreign } = "{place} is this computer or in its network, where that server has no business";
    OnlyLinks = "links in folders are not followed";
    KeyIsFor { origin: Foreign } = "the key that there is belongs to {origin}";
    WasGivenTo { origin: Foreign } = "it was given to {origin}";
    NoReasonGiven = "it gave no reason";
    CameWithoutAssetId = "it came without an asset id";
    FieldsUnreadable = "its form fields cannot be read";
    NoneInTheAnswer = "there is none in the answer";
    NeitherDroppedNorChosen = "it was neither dropped on the window nor chosen in a dialog, or is not there any more";
    NotAgreedTo = "you did not agree to it";
    WithUserName = "it holds a user name or a password";
    WithOtherScheme { scheme: Foreign } = "it starts with {scheme}: and only http and https are possible";
    WithOpenScheme = "it starts with http:, which anyone on the way can read; use https:";
    IsEmpty = "it is empty";
    WithBlanks = "it holds spaces";
    WithoutScheme = "it does not start with https://";
    NotSendableAsItIs = "it holds characters that cannot be sent as they are, so its signature would not fit";

    // ---- what to do, as the table of `retry.rs` has it ----
    EnterKey = "enter a key that the service accepts";
    WaitALittle = "wait a little, then try again";
    RechargeThenResume = "recharge the account or make room in it, then retry; everything that waits for it goes on";
    ReadTheReasonOrLater = "read the service's reason, or try again later";
    WaitForItsTime = "wait until it is, or check the clock of whoever signed it";
    CheckIdOrLink = "check the id or the link";
    TryWhenFinished = "try again when the service has finished it";
    TryLater = "try again later";
    CheckIdOrTryLater = "check the id, or try again later";
    ReadTheReason = "read the service's reason, then try again";
    CheckAddress = "check the address of the service";
    TryAgainArrivedKept = "try again; what has arrived is kept";
    StartOverOrDamaged = "start over; if it happens again, the file is damaged at its source";
    CheckChecksum = "check that the checksum is that of this very file; if it is, the source has another file";
    WriteChecksum = "write the algorithm (md5, sha1, sha256, sha512 or crc32c), a colon, and the hexadecimal digits";
    DeleteWrongAsset = "delete the wrong asset at the service, then send the file again";
    StartOverForNewVersion = "start over to get the new version";
    SignAgain = "sign again; the file is sent from its beginning";
    GetNewLink = "get a new link from where this one came from";
    MakeRoom = "make room or choose another folder; what has arrived is kept";
    ChooseLargerDisk = "choose a folder on a disk that takes files of this size";
    ChooseShorterPath = "choose a folder with a shorter path";
    ChooseWritableFolder = "choose a folder that you can write to";
    MakeReadable = "make the file readable, or choose another one";
    PutFileBack = "put the file back, or choose another one";
    SendWhenStill = "send it again when nothing writes to it any more";
    ConnectToNetwork = "connect to the network; Ferry goes on by itself";
    CheckAddressAndNetwork = "check the address and your network, then try again";
    CheckNetworkConfirmedKept = "check your network, then try again; what is confirmed is kept";
    SignInToProxy = "put your name and password into the address of the proxy (`http://name:password@proxy:8080`), or ask whoever runs it";
    TryAgainConfirmedKept = "try again; what is confirmed is kept";
    CheckAddressAndClock = "check the address and this computer's clock";
    AddAddressYourself = "if you trust it and want what lies there, add that address yourself; otherwise ask for a public one";
    AskForDirectLink = "ask whoever gave you the link for a direct one";
    StartWheneverYouLike = "start it again whenever you like";
    UseAnotherService = "use another service for this";
    UpdateOtherFerry = "update the other Ferry, or end it";
    UpdateThisFerry = "update this Ferry, or end the other one";
    CloseOtherFerry = "close the other Ferry, or choose another data folder with --data-dir";
    CorrectIt = "correct it and try again";
    SendReport = "copy the report from the settings and send it to Ferry's maintainers";

    // ---- what to do, where there is better advice ----
    CloseOtherProgram = "close the program that uses it, then try again; what has arrived is kept";
    GetDirectLink = "get a direct link to the file";
    CheckSignInOrDirectLink = "check whether this network asks you to sign in, or get a direct link to the file";
    LookThereFirst = "look at the store whether it is there before you send it again";
    GetUrlForWhole = "get a URL that takes the whole file in one request";
    CheckAddressAndSignIn = "check the address of the service, and whether this network asks you to sign in";
    GetOpenLink = "get a link that works without signing in";
    WaitForFolder = "look at its drive or its network; nothing is lost meanwhile";
    ConnectDrive = "connect it again and retry, or choose another folder; what has arrived is kept on it";
    LookAtMediaServer = "look at the media server, then try again";
    StartAgain = "start it again";
    RechargeAt { place: Foreign } = "recharge the account at {place}, then retry; everything that waits for it goes on";
    SeeAccount { place: Foreign } = "see what is wrong with the account at {place}";
    EnterAddress = "enter its address under Services, or set its FERRY_…_URL variable";
    EnterKeyOf { id: Foreign } = "enter one under Services, or run `ferry key set {id}`";
    EnterKeyAnew { id: Foreign } = "enter the key anew for this address under Services, or run `ferry key set {id}`";
    SetAddressBack = "set the address back under Services, or take this off the list and add it again";
    NameAddressOutside = "name the address by its FERRY_…_URL variable, as the key comes from a variable, too";
    ChangeVariable = "change the variable, or start Ferry without it";
    UseOneOf { services: Foreign } = "use one of {services}";
    CheckId = "check the id";
    PasteLinkAgain = "paste the link again";
    PutItBack = "put it back where it was, or connect its drive; the details say whether it can be downloaded again";
    PasteWholeUrl = "paste the whole URL";
    GetUrlWithoutHeaders = "get a URL that is signed without them";
    SignWithoutChecksum = "get one that is signed without a checksum";
    NameTheType = "name the type that was signed (`--content-type`)";
    SendInParts = "get a URL for a resumable session, or send the file in parts";
    GetNewSignedUrl = "get a new signed URL and send again";
    GiveOneOfTheTwo = "give one of the two";
    GiveLinkOrId = "give a link, an asset id or a video number";
    MoveFileItself = "move the file itself";
    ChooseExported = "choose a file that Ferry exported";
    ChooseFile = "choose a file";
    ChooseItAgain = "choose it again";
    CopyThenSend = "copy it to a disk and send the copy";
    RenameThenSend = "rename the file, then send it";
    ChooseFiles = "choose files, or folders with files";
    SeeQueue = "see `ferry queue` for the ids";
    BeItsOwner = "start Ferry as that user, or choose another data folder with --data-dir";
    CloseFolder { command: ShellCommand } = "look whether all that is in it is yours, then run `{command}`, or choose another data folder with --data-dir";
    RemovePlanted { command: ShellCommand } = "look at it, then run `{command}`";
    CopyInItsPlace { command: ShellCommand } = "if the file is yours, put a copy in its place: run `{command}`";
    StartNewerFerry = "start the newer Ferry, or choose another data folder with --data-dir";
    ChooseDownloadsFolder = "choose the Downloads folder in the settings";
    ShowInFolder = "show it in its folder instead";
    SetInDesktop = "set it in the desktop's own settings";
    Rename = "rename it";
    WaitUntilComplete = "wait until it is";
    LookInFileManager { path: Foreign } = "look for `{path}` in your file manager";
    DropOrChoose = "drop the file on the window, or choose it with Upload files";
    PressAgain = "do it once more yourself";

    // ---- the history of a transfer, and notes on it ----
    WhatAndWhy { what: Words, why: Words } = "{what}; {why}";
    StillSo { what: Words, seconds: Seconds } = "{what}, and still so after {seconds} s of waiting";
    TriedAgain { what: Words, seconds: Seconds } = "{what}; next attempt in {seconds} s";
    Completed = "Completed";
    CompletedWithProof { proof: Verified } = "Completed; proof: {proof}";
    Failed { what: Words } = "Failed: {what}";
    WentBackToQueue = "Stopped: queued";
    WasPaused = "Stopped: paused";
    WasCanceled = "Stopped: canceled";
    LibraryNotWritten { what: Words } = "The file is here; the library could not be written: {what}";
    NotRemovedThere { what: Words } = "The file is here; removing it from the server failed: {what}";
    OnlyNameMissing = "It was whole already; only its name was missing";
    HadItsName = "It had its final name already";
    PartFileGone = "The part file is gone; started over";
    BesidePartName = "Something else has the part file's name; started over beside it";
    NameFitted { name: Foreign } = "This disk does not take the file’s name as it is; the file is called `{name}`";
    PartFileChanged { aside: Foreign } = "The part file was changed by somebody else; it is kept as `{aside}`; started over";
    ServerSends = "The server sends the file";
    GoesOnAt { done: Size } = "Goes on at {done}";
    CannotContinueHere = "This server cannot continue a download; started over";
    SameFileNotShown = "Nothing shows that the server still has the same file; started over";
    SeveralParts = "The server answered with several parts; started over";
    ContinuedElsewhere = "The server continued at the wrong place; started over";
    LongerThanPromised = "The file is longer than the server had said before; started over";
    ChangedAtSource { aside: Foreign } = "Changed at the source; the old part is kept as `{aside}`; started over";
    ChecksumDiffered = "The checksum differed; started over";
    ChecksumOfChangedBody = "The server changed the body on its way, so its checksums do not apply";
    ChecksumIgnored { header: Foreign, why: Words } = "The checksum in `{header}` was ignored: {why}";
    NoSizeNoChecksum = "The server gave neither size nor checksum; the size is not verified";
    OnlyShortText = "A short text came under this name, which may be a message of the server in place of the file; nothing verifies it";
    FormWasKept = "The store kept the form around the file as a part of it; sent again by a plain PUT";
    AnswerLost = "The answer was lost, but the service has the file";
    SourceChangedSince = "The file changed since it was begun; it is sent from its beginning";
    AssetGivenUp { id: Foreign } = "The asset id {id} was given up";
    SignedAgain = "The signed URL had expired; signed again";
    SignedBy { service: Peer } = "Signed by {service}";
    OtherMethod { method: Way, other: Way } = "The store does not take {method}; trying {other}";
    OtherType { tried: Foreign } = "The signature does not fit; trying the type {tried}";
    SentFromBeginning = "This way of sending cannot be continued; sent from the beginning";
    StoreHas { done: Size } = "The store has {done}; goes on there";
    SessionOpened = "Resumable session opened";
    SessionLost = "The store no longer knows the session; sent from the beginning";
    DoneNotShown = "The store says that it has the file, but nothing shows that it is this one; sent from the beginning";
    ConfirmedByService = "Confirmed by the service";
    SentBefore { service: Peer } = "Sent before; {service} still has it, nothing was sent again";
    GoneThere { service: Peer } = "Sent before, but {service} no longer has it; it is sent again";
    ChangedSinceCompared = "The file changed after it was compared with what was sent before; it is sent";
    NotYetConfirmed = "Sent, not yet confirmed by the service";
    NotConfirmed = "Sent; nothing confirms what was stored";
    NotConfirmedSaid { words: Foreign } = "Sent; nothing confirms what was stored. The store said: {words}";
    PageBegun = "The media server began to fetch the page";
    NoValueThere = "it has no value";
    NotBetweenColons = "its value is not between colons";
    WrongLength = "its value has the wrong length";
    NotBase64 = "its value is not base64";
    NotHex = "its value is not hexadecimal";
    NotNumber = "its value is no number";
    NotVerifiedThere = "the server has not verified it itself";
    Contradicts = "it contradicts another checksum of the same answer";
    AlgorithmUnknown { name: Foreign } = "`{name}` is none of the algorithms for it";
    NotText = "it is not text";
    ColumnMissing { name: Foreign } = "there is no column `{name}`";
    EntryUnusable { entry: Count } = "entry {entry} cannot be read";

    // ---- notices at the start ----
    PickedUpOne = "Picked up 1 transfer where it stood";
    PickedUp { count: Count } = "Picked up {count} transfers where they stood";
    UnreadableOne { back: Count } = "1 transfer on the list could not be read, perhaps written by a newer Ferry; {back} brought back from what was kept beside the list, the others stay in its file";
    Unreadable { count: Count, back: Count } = "{count} transfers on the list could not be read, perhaps written by a newer Ferry; {back} brought back from what was kept beside the list, the others stay in its file";
    ListLostOne = "The list of transfers was lost; 1 unfinished transfer was brought back from what was kept for them";
    ListLost { count: Count } = "The list of transfers was lost; {count} unfinished transfers were brought back from what was kept for them";
    LibraryBack { count: Count } = "The library came back from its copy, with {count} assets";
    ListDamaged { why: Foreign, aside: Foreign } = "The list of transfers was damaged ({why}). It is kept as `{aside}`, and Ferry began a new one from what could be found";
    FolderStaysReadable { folder: Foreign } = "Other users of this computer may be able to read `{folder}`, where Ferry keeps its data: its disk does not keep them out";
    NoDesktopBus = "The desktop’s message bus does not answer. Ferry works without it, but shows no notices and no tray icon, and keys last for this run only";
    NoTrayIcon = "A tray icon cannot be made here: closing the window ends Ferry";
    SettingsUnreadable { why: Words } = "The settings could not be read ({why}); the defaults apply";
    SettingsBroken { why: Words, aside: Foreign } = "The settings file was damaged ({why}) and is kept as `{aside}`; the defaults apply";
    SettingsBrokenInPlace { why: Words } = "The settings file was damaged ({why}) and is left where it is; the defaults apply";
    HalfAdded { names: Foreign } = "Ferry was closed while it was noting `{names}`, before the link was kept; please add it again";
    HalfAddedAndMore { names: Foreign, more: Count } = "Ferry was closed while it was noting `{names}` and {more} more, before their links were kept; please add them again";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Cause, Code, Error, Failure, Remedy};
    use crate::transfer::{State, Transfer, TransferId, Wait, WaitReason};

    #[test]
    fn a_sentence_outlives_the_list_and_words_as_they_came_stay_text() {
        let known: Words = Phrase::TriedAgain { what: Phrase::NoNetwork.into(), seconds: Seconds(4) }.into();
        assert_eq!(known.to_string(), "This computer has no network; next attempt in 4 s");
        let strange = ["Sent, not yet confirmed", "", "{", "{\"is\":\"of_a_newer_ferry\"}", "{\"is\":1}"];
        for words in strange.map(Words::from).into_iter().chain([known]) {
            assert_eq!(Words::from_column(words.to_column()), words);
        }
        assert_eq!(Words::from("as it came").to_column(), "as it came");
    }

    #[test]
    fn rows_of_the_ferry_that_wrote_english_are_read() {
        let mut row = serde_json::to_value(Transfer::blank(TransferId(7))).unwrap();
        row["state"] = serde_json::json!({
            "is": "failed", "code": "disk_full", "message": "The disk is full; 1.4 GB more is needed in `/d`",
            "advice": "make room", "remedy": "free_space",
        });
        row["wait"] =
            serde_json::json!({"reason": "key", "until": null, "message": "MAVI refused the key; HTTP 401"});
        row["note"] = serde_json::json!("The checksum differed; started over");
        let row: Transfer = serde_json::from_value(row).unwrap();
        let State::Failed(failure) = &row.state else { panic!("{:?}", row.state) };
        assert_eq!((failure.code, failure.remedy), (Code::DiskFull, Remedy::FreeSpace));
        assert_eq!(failure.message(), "The disk is full; 1.4 GB more is needed in `/d`");
        assert_eq!(failure.advice.to_string(), "make room");
        let wait = row.wait.as_ref().unwrap();
        assert_eq!(
            (wait.reason, wait.message().as_str()),
            (WaitReason::Key, "MAVI refused the key; HTTP 401")
        );
        assert_eq!(row.note, Some("The checksum differed; started over".into()));
        let again: Transfer = serde_json::from_str(&serde_json::to_string(&row).unwrap()).unwrap();
        assert_eq!(again, row);
    }

    #[test]
    fn what_why_and_advice_are_apart_and_make_the_terminals_line() {
        let error = Error::new(Cause::DiskFull, Phrase::NoRoom)
            .because(Phrase::MoreNeeded { needed: Size(1_400_000_000), folder: "/d".into() });
        assert_eq!(
            error.to_string(),
            "There is not enough room on the disk; 1.4 GB more is needed in `/d`; \
             make room or choose another folder; what has arrived is kept"
        );
        let failure = serde_json::to_value(Failure::from(&error)).unwrap();
        assert_eq!(failure["what"], serde_json::json!({"is": "no_room"}));
        assert_eq!(
            failure["why"],
            serde_json::json!({"is": "more_needed", "needed": 1_400_000_000, "folder": "/d"})
        );
        assert_eq!(failure["advice"], serde_json::json!({"is": "make_room"}));
        let refused = Error::new(Cause::Unauthorized, Phrase::KeyRefused { service: Peer::service("mavi") })
            .because("“Invalid API key”, HTTP 401");
        assert_eq!(refused.happened().to_string(), "MAVI refused the key; “Invalid API key”, HTTP 401");
        assert_eq!(
            serde_json::to_value(Failure::from(&refused)).unwrap()["why"],
            "“Invalid API key”, HTTP 401"
        );
        assert_eq!(Phrase::SentNothing.to_string(), "The service sent nothing");
        assert_eq!(
            Phrase::PauseAsked { service: Peer::service("link") }.to_string(),
            "The server asks for a pause"
        );
        assert_eq!(Phrase::PauseAsked { service: Peer::store() }.to_string(), "The store asks for a pause");
    }

    #[test]
    fn sizes_are_shown_as_in_the_table_that_the_page_is_held_to() {
        let table: Vec<(u64, String, String)> =
            serde_json::from_str(include_str!("../../../tests/fixtures/sizes.json")).unwrap();
        assert!(table.len() > 20);
        for (bytes, decimal, binary) in table {
            assert_eq!(Size(bytes).shown(Units::Decimal), decimal, "{bytes}");
            assert_eq!(Size(bytes).shown(Units::Binary), binary, "{bytes}");
            // The page can't be asked beyond 2^53.
            let system = if cfg!(windows) { binary } else { decimal };
            assert_eq!(Size(bytes).shown(Units::System), system, "{bytes}");
        }
        assert_eq!(Size(u64::MAX).shown(Units::Decimal), "18447 PB");
        assert_eq!(Size(u64::MAX).shown(Units::Binary), "16384 PiB");
    }

    #[test]
    fn sentences_show_sizes_in_the_units_of_the_settings() {
        let missing = Phrase::AreMissing { missing: Size(999_950) };
        assert_eq!(missing.to_string(), "1.0 MB are missing");
        Size::show_in(Units::Binary);
        assert_eq!(missing.to_string(), "977 KiB are missing");
        Size::show_in(Units::Decimal);
        assert_eq!(missing.to_string(), "1.0 MB are missing");
    }

    #[test]
    fn a_wait_says_what_happened_and_why() {
        let wait = Wait {
            reason: WaitReason::Space,
            until: None,
            what: Phrase::DiskFull.into(),
            why: Some(Phrase::AreMissing { missing: Size(12) }.into()),
        };
        assert_eq!(wait.message(), "The disk is full; 12 B are missing");
    }
}
