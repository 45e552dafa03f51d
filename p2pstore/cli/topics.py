"""The pages of `p2pstore help TOPIC`: what no single verb explains. At most 78 columns: they fit every terminal."""

from __future__ import annotations

from typing import Final, NamedTuple


class Topic(NamedTuple):
    """One page.

    Attributes:
        summary: a line for the list of topics.
        text: the page.
    """

    summary: str
    text: str


PATHS: Final = """\
Paths in the store begin with / or with p2p:/. Both mean the same:
  p2pstore ls /Photos
  p2pstore get p2p:/Photos/x.jpg .

Where things land follows cp: into the destination if it is a folder, under
the destination's name otherwise. Several sources, or a slash at the end, need
a folder. "DIR/." means the contents of DIR.

A name may hold any byte but zero and "/". On a terminal, control characters
and bytes that are not UTF-8 are shown as escapes, and a backslash is doubled.
With --json, a name that is not UTF-8 comes with its exact bytes in name_hex."""

VERSIONS: Final = """\
Every change is a new version; nothing that was stored is overwritten.

  PATH@3                 version 3 of `p2pstore history PATH`
  PATH@2026-10-01        as it was at the end of that day, local time
  PATH@2026-10-01T18:30  at the end of that minute
  PATH@NAME              as it was when the snapshot NAME was made

They work in get, cat, ls, tree, where, diff and restore; dates and snapshots
on folders too, and in the middle of a path: /Photos@2026-10-01/Trip.

  p2pstore history /will.odt             what there was
  p2pstore diff /will.odt@2              what has changed since
  p2pstore restore /will.odt@2           make it the newest again
  p2pstore trash                         what was removed
  p2pstore trash put-back /Drafts        undo that
  p2pstore snapshot create spring        give this moment a name"""

VERDICT: Final = """\
The first word of `p2pstore safe` is about your worst file. It is computed from
what the machines have signed and proven, and is never rosier than that.

  safe      every file survives what was promised          exit code 0
  thin      readable, and survives less than promised                20
  risk      some file would be gone with the next machine            21
  lost      some file cannot be read now                             22
  unknown   no other machine was heard for 15 minutes                23

A machine that sleeps is counted until its grace ends: a day for one that is
always on, three for a desktop, seven for a laptop.

  p2pstore safe --what-if nas            what would be left without it
  p2pstore safe --worst 20               the pieces that bear least
  p2pstore where /Photos/x.jpg           who holds what of a file
  p2pstore repair                        what is due, and how long it takes
  p2pstore test-restore                  believe no screen: read files back"""

PROMISE: Final = """\
A file that `put` has called safe is not lost while no more fails than is
promised: any one machine in a household of two to five, any two from six on,
or what its folder says:

  p2pstore promise set /Photos house     all machines of any one site may burn
  p2pstore promise plan /Photos          who would hold what, and how much fits

Where machines stand says `p2pstore peers site NAME SITE`.

`put --ack` says how long to wait: `safe` (the default) returns when the
promise holds, or with exit code 6 when there are not enough machines now; the
daemon goes on placing by itself. 100 % in a progress bar means safe, not sent.

Reads return the right bytes or an error, never wrong bytes. Outsiders learn
nothing; a machine with the role storage learns counts and sizes, never names
or contents. All members can read everything."""

KIT: Final = """\
The recovery kit is 24 words on paper. With them, and enough surviving
machines, everything comes back on a fresh machine; whoever has them can read
everything. They are shown once, at `p2pstore init`, and kept nowhere.

  p2pstore recovery-kit check            whether the words you have are right
  p2pstore recovery-kit print            the page again, from the words
  p2pstore recovery-kit use --to FOLDER --at HOST:PORT    the house burned

Keep two copies, one of them in another house. Check once a year."""

MACHINES: Final = """\
Asleep or unplugged   Do nothing: it is counted until its grace ends, and what
                      it holds counts again when it returns.
Dead                  p2pstore peers forget NAME
Stolen                p2pstore peers revoke NAME
                      It is cut off, and what is stored from now on is sealed
                      with new keys.
To be given away      p2pstore peers retire NAME
                      What it holds is written elsewhere first, then it leaves.
                      p2pstore peers can-leave NAME only asks whether it may.
To be exchanged       p2pstore peers replace OLD NEW
A new one             p2pstore invite, and on the new one p2pstore join CODE
A friend's            p2pstore invite --role storage
                      It stores for you and can read nothing.
How much it gives     p2pstore peers limit SIZE
Where it stands       p2pstore peers site NAME SITE

One admin alone cannot remove another: a second admin, or the 24 words
(--with-paper-key), must agree."""

SCRIPTS: Final = """\
--json      The last line on standard output is one object, "type": "result" or
            "error" (with "code", "what", "why", "fix", "exit"), usage errors
            included. Its schema is docs/schemas/VERB.json.
--plain     One fact a line, no colour, no drawing: for grep, screen readers.
--yes       Do not ask. Without a terminal nothing is asked: what would need an
            answer is refused with exit code 5.
--timeout   Give up after so long (exit code 13).
--progress  json writes one object a line on standard error.

Results are on standard output, everything else on standard error. A code that
`p2pstore help exit-codes` does not list is a failure.
P2PSTORE_HOME  the household's folder on this machine (as --home)
NO_COLOR       no colour; FORCE_COLOR: colour even into a pipe
From Python: `from p2pstore import connect`; fsspec knows p2pstore:// URLs."""

TROUBLE: Final = """\
  p2pstore doctor                  look for problems, and name what helps
  p2pstore doctor --fix            do what helps where it is harmless
  p2pstore doctor --bundle FILE    what helps others to help, without names
  p2pstore status -v               versions, addresses, disk
  p2pstore log --verify            check every signature and chain

"the daemon is not running"    p2pstore up; its log is HOME/log/daemon.log
a machine is not found         same network? multicast blocked? then
                               p2pstore join CODE --at HOST:PORT
RISK or LOST                   switch on everything that may hold shards before
                               anything else, and delete nothing
full                           p2pstore peers limit SIZE, or another machine"""

WHAT_IF: Final = """\
`p2pstore sim what-if HOUSEHOLD.toml` says what machines are good for:
how much fits, what may fail, how likely a loss is, what one more disk adds.

  promise = "any-1"              what must be survived   [by machine count]
  stored = "1.5T"                of your files           [as much as fits]
  replaced_days = 14             until a dead disk is replaced
  rebuild_mbit = 20              a line's speed, for making lost shards anew

  [machines.nas]                 one part for each machine
  site = "home"                  where it stands
  size = "4T"                    what it gives
  steadiness = "always-on"       or desktop, laptop
  awake = 0.99                   share of the time that it is on
  lost_yearly = 0.02             chance that it is lost for good within a year
  absences_yearly = 0            how often it is away for longer than its grace

  [sites.home]
  lost_yearly = 0.01             chance that fire or burglars take all of it

Only site and size are needed; the others are shown as they are taken."""

TOPICS: Final = {
    "paths": Topic("how paths in the store are written", PATHS),
    "versions": Topic("what stands after the @ of a path", VERSIONS),
    "verdict": Topic("safe, thin, risk, lost, unknown", VERDICT),
    "promises": Topic("what a stored file survives", PROMISE),
    "machines": Topic("asleep, dead, stolen, new: what to type", MACHINES),
    "kit": Topic("the 24 words that bring everything back", KIT),
    "what-if": Topic("a file that describes a household", WHAT_IF),
    "scripts": Topic("--json, --plain, environment, Python", SCRIPTS),
    "trouble": Topic("when something is wrong", TROUBLE),
}
"""`exit-codes` is a topic too; it is made from its table."""
