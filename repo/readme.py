# ruff: noqa: E501 - a text for people, laid out for their editors
"""The text of the README object inside every repository (spec/FORMAT.md §13)."""

README_TEXT = """\
This folder is a snap repository, format version 1.
Its files are encrypted backups. Do not change, rename or delete any of them by hand.

With snap ("pip install snap-backup"):

    snap -r THIS_FOLDER snapshots
    snap -r THIS_FOLDER restore latest --target SOME_FOLDER

You need a passphrase, or the recovery key that "snap init" printed.

Without snap: every object but config and leases is named by the BLAKE3 hash of its bytes.

  config      line 1: JSON with repository_id and the format version; line 2: keyed BLAKE3 of line 1
  keys/       key slots: "SNAPKEY\\0", version, header length (u16), header (msgpack, with the Argon2id
              parameters), commitment[32], nonce[12], AES-256-GCM ciphertext of the secrets (msgpack)
  snapshots/ index/ leases/   sealed objects: "SNAPOBJ\\0", version, kind, 0, 0, salt[32], AES-256-GCM
              (zero nonce) of: a compression byte (1: zstd), then a msgpack map
  data/ meta/ packs: "SNAPPACK", version, kind, key count (u16), key table, blobs, directory, length, "SNAPDIR\\0"

  kek       = Argon2id(passphrase)         slot key = BLAKE3-derive_key(C + "slot encryption", kek)
  object key = BLAKE3-keyed(BLAKE3-derive_key(C + "object", metadata_secret), kind || salt)
  meta pack key = BLAKE3-keyed(BLAKE3-derive_key(C + "meta pack", metadata_secret), salt)
  data pack key = HPKE open (MLKEM768-X25519, HKDF-SHA256, AES-256-GCM,
                  info "snap-backup v1 pack key" || repository_id) with the data private key
  C = "snap-backup 2026-11-23 v1 "
  associated data of every AES-GCM = "SNAP", version, kind, repository_id[16], id[32]
     (the blob's id for blobs, the lease's for leases, BLAKE3 of the header for key slots and pack
      directories, else zeros); kinds: 1 data, 2 tree, 3 extents, 16 directory, 17 index,
      18 snapshot, 19 lease, 32 key slot
  blob: AES-256-GCM with its counter as a 12-byte little-endian nonce; then raw or one zstd frame;
     its id is BLAKE3-keyed(BLAKE3-derive_key(C + "blob id", metadata_secret), kind || plaintext)

A snapshot lists components, each with the ids of its tree blobs; a tree blob is a msgpack map of nodes;
a file's content lists extents (blob, offset, length), a file of records those of each of its columns;
index objects say in columns which blob lies where.
The full description is spec/FORMAT.md of the project, with a reader of 300 lines, spec/reader.py.
"""
