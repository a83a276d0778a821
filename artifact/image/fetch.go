package image

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/mayfly-cloud/mayfly"
)

// Fetcher fetches images from registries, with the credentials that the user's
// Docker configuration has. Registries on this machine are spoken to without
// TLS.
type Fetcher struct{}

// Fetch writes this machine's image of a reference into dir as an OCI layout.
// What was fetched is named by its digest from then on: a tag that moves later
// changes nothing. Errors: Invalid for a reference that is none, Unavailable
// where the registry does not give the image.
func (Fetcher) Fetch(ctx context.Context, ref, dir string) error {
	op := "fetch image " + ref
	r, err := name.ParseReference(ref)
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, op, "there is no such file, and it is not an image reference: %w", err)
	}
	img, err := remote.Image(r, remote.WithContext(ctx), remote.WithPlatform(Here()), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, op, "the registry did not give it: %w", err)
	}
	if _, err := describe(img); err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	if err := path.AppendImage(img); err != nil {
		return mayfly.Errorf(mayfly.Unavailable, op, "the registry did not give it: %w", err)
	}
	return nil
}
