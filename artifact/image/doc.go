// Package image reads OCI and Docker images and unpacks them into root folders.
//
//	registry   ──Fetcher.Fetch──►  OCI layout folder   a bundle, pinned by digest
//	bundle     ──Open──►           Image               layout, or a tar of "docker save" or of a layout
//	Image      ──Roots.Root──►     root folder         once per image; read-only from then on
//
// No Docker engine takes part.
//
// Unpacking trusts no layer. Every path is resolved within the root, as if it
// were the file system's; every access goes through os.Root. Set-user-id and
// set-group-id bits, extended attributes and devices are left out, the owners of
// files are kept where the daemon may give them, each layer is checked against
// the digest that the image's configuration has for it, and the size and number
// of files are bounded.
//
// Terms:
//
//	layer      a tar of changes
//	whiteout   a file in a layer that says that another is gone: .wh.NAME
//	opaque     a whiteout for all that a folder held: .wh..wh..opq
//
// Sources: OCI Image Format Specification 1.1, "Image Layer Filesystem
// Changeset" and "Image Layout".
package image
