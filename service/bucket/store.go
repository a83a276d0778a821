package bucket

import (
	"path/filepath"

	"github.com/versity/versitygw/backend"

	"github.com/mayfly-cloud/mayfly"
)

// store is where a bucket's objects are: a backend, and the bucket's name there.
// The file backend takes an absolute folder as name.
type store struct {
	files  backend.Backend
	folder string
}

// local is the store of a folder of this node.
func (d *Driver) local(folder string) store {
	return store{d.files, filepath.Join(d.folders, folder)}
}

// storeOf is where a bucket was that functions listened to. Folder names one
// that no app declares any more.
func (d *Driver) storeOf(app mayfly.AppName, bucket, folder string) store {
	if s := d.spec(app, bucket); s != nil {
		return s.store
	}
	return d.local(folder)
}
