package secret

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/mayfly-cloud/mayfly"
)

// keysetKey is where the sealed keyset is in the index.
const keysetKey = "keys.secrets"

var keysetData = []byte("mayfly secrets keyset")

// openKeyset unseals the keyset with the root key, and makes it at the first
// start. Of two that make it at once, both get the same.
func openKeyset(ctx context.Context, index Index, rootKey []byte) (tink.AEAD, error) {
	root, err := subtle.NewAESGCM(rootKey)
	if err != nil {
		return nil, fmt.Errorf("use root key: %w", err)
	}
	sealed, _, ok := index.Get(keysetKey)
	if !ok {
		if sealed, err = makeKeyset(ctx, index, root); err != nil {
			return nil, err
		}
	}
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(sealed)), root, keysetData)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "open secrets", "the root key does not fit the stored secrets; restore the root key file that belongs to this data: %w", err)
	}
	return aead.New(handle)
}

func makeKeyset(ctx context.Context, index Index, root tink.AEAD) ([]byte, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make keyset: %w", err)
	}
	var sealed bytes.Buffer
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&sealed), root, keysetData); err != nil {
		return nil, fmt.Errorf("seal keyset: %w", err)
	}
	_, err = index.Put(ctx, keysetKey, sealed.Bytes(), 0)
	if mayfly.CodeOf(err) == mayfly.Conflict {
		other, _, ok := index.Get(keysetKey)
		if ok {
			return other, nil
		}
	}
	return sealed.Bytes(), err
}

// associated binds a sealed value to its place.
func associated(app mayfly.AppName, name string, version int) []byte {
	return []byte(string(app) + "/" + name + "/" + strconv.Itoa(version))
}
