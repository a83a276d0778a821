package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/mayfly-cloud/mayfly"
)

// Image is an image that was opened. Close it after use.
type Image struct {
	v1.Image
	ID     string // the digest of its configuration, in hex
	Config v1.Config

	temp string // a folder that Close removes
}

// Close removes what Open unpacked. It may be called twice.
func (i *Image) Close() error {
	if i.temp == "" {
		return nil
	}
	return os.RemoveAll(i.temp)
}

// Open reads the image that a bundle holds: an OCI layout, or one file that is
// a tar (or a compressed one) of "docker save" or of an OCI layout. scratch is
// where a tar of a layout is unpacked. Errors about the image are Invalid.
func Open(bundle, scratch string) (*Image, error) {
	img, temp, err := open(bundle, scratch)
	if err == nil {
		var out *Image
		if out, err = describe(img); err == nil {
			out.temp = temp
			return out, nil
		}
	}
	if temp != "" {
		os.RemoveAll(temp)
	}
	if mayfly.CodeOf(err) == mayfly.Internal {
		err = mayfly.Errorf(mayfly.Invalid, "read image", "%w", err)
	}
	return nil, err
}

func open(bundle, scratch string) (img v1.Image, temp string, err error) {
	if _, err := os.Stat(filepath.Join(bundle, "index.json")); err == nil {
		img, err = fromLayout(bundle)
		return img, "", err
	}
	file, err := onlyFile(bundle)
	if err != nil {
		return nil, "", err
	}
	docker, err := holds(file, "manifest.json")
	if err != nil {
		return nil, "", err
	}
	if docker {
		img, err = tarball.Image(func() (io.ReadCloser, error) { return openTar(file) }, nil)
		return img, "", err
	}
	temp, err = unpackLayout(file, scratch)
	if err != nil {
		return nil, temp, err
	}
	img, err = fromLayout(temp)
	return img, temp, err
}

// onlyFile is the one file of a bundle.
func onlyFile(bundle string) (string, error) {
	if st, err := os.Stat(bundle); err == nil && st.Mode().IsRegular() {
		return bundle, nil
	}
	entries, err := os.ReadDir(bundle)
	if err != nil {
		return "", err
	}
	if len(entries) != 1 || !entries[0].Type().IsRegular() {
		return "", mayfly.Errorf(mayfly.Invalid, "read image", "the source is neither an OCI layout folder (index.json) nor an image as a tar file")
	}
	return filepath.Join(bundle, entries[0].Name()), nil
}

// describe reads what running the image needs, and refuses one of another
// machine.
func describe(img v1.Image) (*Image, error) {
	id, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	if err := platform(file.OS, file.Architecture); err != nil {
		return nil, err
	}
	return &Image{Image: img, ID: id.Hex, Config: file.Config}, nil
}

func platform(system, arch string) error {
	if system != "" && system != "linux" || arch != "" && arch != runtime.GOARCH {
		return mayfly.Errorf(mayfly.Invalid, "read image", "the image is for %s/%s; this machine is linux/%s", system, arch, runtime.GOARCH)
	}
	return nil
}

// Here is the platform whose image is chosen where there are several.
func Here() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// maxDepth bounds indexes within indexes.
const maxDepth = 4

func fromLayout(dir string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	return fromIndex(index, maxDepth)
}

// fromIndex finds this machine's image of an index: the one whose platform fits,
// else the only one.
func fromIndex(index v1.ImageIndex, depth int) (v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var fits []v1.Descriptor
	var others []string
	for _, d := range m.Manifests {
		switch {
		case !d.MediaType.IsImage() && !d.MediaType.IsIndex():
		case d.Platform == nil || d.Platform.Satisfies(Here()):
			fits = append(fits, d)
		case d.Platform.OS != "unknown": // of an attestation
			others = append(others, d.Platform.String())
		}
	}
	switch {
	case len(fits) == 0 && len(others) > 0:
		return nil, mayfly.Errorf(mayfly.Invalid, "read image", "the image is for %s; this machine is linux/%s", strings.Join(others, ", "), runtime.GOARCH)
	case len(fits) == 0 || depth == 0:
		return nil, errors.New("the index has no image")
	case len(fits) > 1:
		return nil, mayfly.Errorf(mayfly.Invalid, "read image", "there are %d images for this machine; keep one", len(fits))
	}
	if fits[0].MediaType.IsIndex() {
		inner, err := index.ImageIndex(fits[0].Digest)
		if err != nil {
			return nil, err
		}
		return fromIndex(inner, depth-1)
	}
	return index.Image(fits[0].Digest)
}

// openTar opens a tar, compressed by gzip or not.
func openTar(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	br := bufio.NewReader(f)
	if magic, _ := br.Peek(2); string(magic) != "\x1f\x8b" {
		return &unpacked{br, f}, nil
	}
	z, err := gzip.NewReader(br)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &unpacked{z, f}, nil
}

type unpacked struct {
	io.Reader
	io.Closer
}

// holds reports whether a tar has an entry.
func holds(file, name string) (bool, error) {
	r, err := openTar(file)
	if err != nil {
		return false, err
	}
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, mayfly.Errorf(mayfly.Invalid, "read image", "%s is not an image as a tar file: %w", filepath.Base(file), err)
		}
		if path.Clean(h.Name) == name {
			return true, nil
		}
	}
}

// unpackLayout writes the files of a layout's tar to a new folder, and nothing
// else that is in it.
func unpackLayout(file, scratch string) (dir string, err error) {
	r, err := openTar(file)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if dir, err = os.MkdirTemp(scratch, "layout-"); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return dir, err
	}
	defer root.Close()
	left := maxSize
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return dir, nil
		}
		if err != nil {
			return dir, err
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || name != "index.json" && name != "oci-layout" && !strings.HasPrefix(name, "blobs/") {
			continue
		}
		if left -= h.Size; left < 0 {
			return dir, mayfly.Errorf(mayfly.TooLarge, "read image", "the image is larger than %s", mayfly.Bytes(maxSize))
		}
		if err := writeBlob(root, name, tr); err != nil {
			return dir, fmt.Errorf("unpack %s: %w", name, err)
		}
	}
}

func writeBlob(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
