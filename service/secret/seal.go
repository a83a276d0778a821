package secret

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
)

// keysetKey is where the sealed keyset is in the index.
const keysetKey = "keys.secrets"

var keysetData = []byte("mayfly secrets keyset")

// openKeyset unseals the keyset with the root key, and makes it at the first
// start. Of two that make it at once, both get the same. A keyset that the file's
// key sealed is sealed anew where the root key is in a transit engine now.
func openKeyset(ctx context.Context, cfg *Config) (tink.AEAD, error) {
	sealed, rev, ok := cfg.Index.Get(keysetKey)
	byTransit := bytes.Contains(sealed, []byte(transitPrefix))
	if ok && byTransit && cfg.Transit == nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "open secrets", "they are sealed by a key in OpenBao; start the node with --root-key URL")
	}
	root, err := openRoot(cfg, ok && !byTransit)
	if err != nil {
		return nil, err
	}
	if !ok {
		if sealed, err = makeKeyset(ctx, cfg.Index, root); err != nil {
			return nil, cfg.Transit.cause(err)
		}
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(sealed)), root, keysetData)
	if err != nil && cfg.Transit.cause(nil) != nil {
		return nil, fmt.Errorf("open secrets: %w", cfg.Transit.failed)
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "open secrets", "the root key does not fit the stored secrets; restore the root key that belongs to this data: %w", err)
	}
	if ok && !byTransit && cfg.Transit != nil {
		if err := moveKeyset(ctx, cfg, handle, rev); err != nil {
			return nil, err
		}
	}
	return aead.New(handle)
}

// openRoot is the root key: the file's where the keyset is sealed by it, or where
// no other is configured.
func openRoot(cfg *Config, sealedByFile bool) (tink.AEAD, error) {
	if cfg.Transit != nil && !sealedByFile {
		return cfg.Transit, cfg.Transit.Check()
	}
	if _, err := os.Stat(cfg.RootKey); cfg.Transit != nil && err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "open secrets", "they are still sealed by the key in %s, which is needed once more to move them: %w", cfg.RootKey, err)
	}
	key, err := identity.LoadKey(cfg.RootKey)
	if err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	return subtle.NewAESGCM(key)
}

// moveKeyset seals the keyset by the transit engine.
func moveKeyset(ctx context.Context, cfg *Config, handle *keyset.Handle, rev uint64) error {
	if err := cfg.Transit.Check(); err != nil {
		return err
	}
	sealed, err := seal(handle, cfg.Transit)
	if err == nil {
		_, err = cfg.Index.Put(ctx, keysetKey, sealed, rev)
	}
	if err != nil {
		return fmt.Errorf("move the root key: %w", cfg.Transit.cause(err))
	}
	cfg.Log.Warn("secrets are sealed by a key in OpenBao now; the file of the former key is not used any more, delete it", "file", cfg.RootKey, "key", cfg.Transit.URL)
	return nil
}

func seal(handle *keyset.Handle, root tink.AEAD) ([]byte, error) {
	var sealed bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&sealed), root, keysetData); err != nil {
		return nil, fmt.Errorf("seal keyset: %w", err)
	}
	return sealed.Bytes(), nil
}

func makeKeyset(ctx context.Context, index Index, root tink.AEAD) ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make keyset: %w", err)
	}
	sealed, err := seal(handle, root)
	if err != nil {
		return nil, err
	}
	_, err = index.Put(ctx, keysetKey, sealed, 0)
	if mayfly.CodeOf(err) == mayfly.Conflict {
		other, _, ok := index.Get(keysetKey)
		if ok {
			return other, nil
		}
	}
	return sealed, err
}

// associated binds a sealed value to its place.
func associated(app mayfly.AppName, name string, version int) []byte {
	return []byte(string(app) + "/" + name + "/" + strconv.Itoa(version))
}
