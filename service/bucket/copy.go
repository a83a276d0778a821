package bucket

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly/service"
)

func itoa(n int) string { return strconv.Itoa(n) }

// maxCopy is S3's limit of one copy.
const maxCopy = 5 << 30

// source is an object that is copied from.
type source struct {
	name, key, version string
	*s3.GetObjectOutput
}

// openSource opens the object that a copy names, where the caller may read it.
// The caller closes its body.
func (g *gate) openSource(ctx context.Context, copySource string, owner *string, when backend.PreConditions, part *string) (*source, error) {
	bucket, key, version, err := backend.ParseCopySource(copySource)
	if err == nil && text(owner) != "" {
		err = g.checkOwner(ctx, bucket, *owner)
	}
	if err != nil {
		return nil, err
	}
	s := &source{name: bucket, key: key, version: version}
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: part}
	if version != "" {
		in.VersionId = &version
	}
	if err := checkKey(&key); err != nil {
		return nil, err
	}
	if part == nil {
		in.ChecksumMode = types.ChecksumModeEnabled // else the output has none
	}
	err = g.on(ctx, in.Bucket, service.Read, func(p place) error {
		if part != nil {
			if err := checkRange(ctx, p.files, in); err != nil {
				return err
			}
		}
		if s.GetObjectOutput, err = p.files.GetObject(ctx, in); err != nil {
			return err
		}
		if err := backend.EvaluatePreconditions(text(s.ETag), *s.LastModified, when); err != nil {
			s.Body.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// checkOwner refuses a bucket whose owner is another than a request expects.
func (g *gate) checkOwner(ctx context.Context, bucket, expected string) error {
	data, err := g.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &bucket})
	if err != nil {
		return err
	}
	acl, err := auth.ParseACL(data)
	if err != nil {
		return err
	}
	if cmp.Or(acl.Owner, g.d.keys.admin.Access) != expected {
		return s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	return nil
}

// checkRange refuses ranges that S3 does for a copy, where a plain read would
// take what there is of them.
func checkRange(ctx context.Context, files backend.Backend, in *s3.GetObjectInput) error {
	head, err := files.HeadObject(ctx, &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId})
	if err != nil {
		return err
	}
	_, _, err = backend.ParseCopySourceRange(*head.ContentLength, *in.Range)
	return err
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// CopyObject reads the source and writes the destination. versitygw's own takes
// the source's bucket as a name in the working folder, which it has not here.
func (g *gate) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (out s3response.CopyObjectOutput, err error) {
	src, err := g.openSource(ctx, *in.CopySource, in.ExpectedSourceBucketOwner, backend.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	}, nil)
	if err != nil {
		return out, err
	}
	defer src.Body.Close()
	switch {
	case *src.ContentLength > maxCopy:
		return out, s3err.GetCopySourceObjectTooLargeErr(maxCopy)
	case src.name == *in.Bucket && src.key == *in.Key && src.version == "" && in.MetadataDirective != types.MetadataDirectiveReplace:
		return out, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}
	put, err := g.copyInput(ctx, &in, src)
	if err != nil {
		return out, err
	}
	var res s3response.PutObjectOutput
	err = g.write(ctx, put.Bucket, put.Key, *src.ContentLength, "ObjectCreated:Copy", func(p place) (made, error) {
		res, err = p.files.PutObject(ctx, put)
		return made{etag: res.ETag, version: res.VersionID}, err
	})
	if err != nil {
		return out, err
	}
	now := time.Now().UTC()
	out = s3response.CopyObjectOutput{VersionId: &res.VersionID, CopySourceVersionId: src.VersionId, CopyObjectResult: &s3response.CopyObjectResult{
		ETag: &res.ETag, LastModified: &now, ChecksumType: res.ChecksumType,
		ChecksumCRC32: res.ChecksumCRC32, ChecksumCRC32C: res.ChecksumCRC32C, ChecksumCRC64NVME: res.ChecksumCRC64NVME,
		ChecksumSHA1: res.ChecksumSHA1, ChecksumSHA256: res.ChecksumSHA256, ChecksumSHA512: res.ChecksumSHA512,
		ChecksumMD5: res.ChecksumMD5, ChecksumXXHASH64: res.ChecksumXXHASH64, ChecksumXXHASH3: res.ChecksumXXHASH3, ChecksumXXHASH128: res.ChecksumXXHASH128,
	}}
	return out, nil
}

// copyInput is the write of a copy: what the request says of the object where it
// replaces, else what the source says.
func (g *gate) copyInput(ctx context.Context, in *s3response.CopyObjectInput, src *source) (s3response.PutObjectInput, error) {
	put := s3response.PutObjectInput{
		Bucket: in.Bucket, Key: in.Key, Body: src.Body, ContentLength: src.ContentLength,
		ContentType: in.ContentType, ContentEncoding: in.ContentEncoding, ContentDisposition: in.ContentDisposition,
		ContentLanguage: in.ContentLanguage, CacheControl: in.CacheControl, Expires: in.Expires,
		WebsiteRedirectLocation: in.WebsiteRedirectLocation, Metadata: in.Metadata,
		ObjectLockRetainUntilDate: in.ObjectLockRetainUntilDate, ObjectLockMode: in.ObjectLockMode,
		ObjectLockLegalHoldStatus: in.ObjectLockLegalHoldStatus, ChecksumAlgorithm: in.ChecksumAlgorithm,
	}
	if put.ChecksumAlgorithm == "" {
		put.ChecksumAlgorithm = algorithmOf(src)
	}
	if in.MetadataDirective != types.MetadataDirectiveReplace {
		put.ContentType, put.ContentEncoding, put.ContentDisposition = src.ContentType, src.ContentEncoding, src.ContentDisposition
		put.ContentLanguage, put.CacheControl, put.Expires, put.Metadata = src.ContentLanguage, src.CacheControl, src.ExpiresString, src.Metadata
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		put.Tagging = in.Tagging
		return put, nil
	}
	if src.TagCount == nil || *src.TagCount == 0 {
		return put, nil
	}
	tags, err := g.GetObjectTagging(ctx, src.name, src.key, src.version)
	if err != nil {
		return put, err
	}
	query := url.Values{}
	for k, v := range tags {
		query.Set(k, v)
	}
	encoded := query.Encode()
	put.Tagging = &encoded
	return put, nil
}

// algorithmOf is the checksum that the source has, which the copy then gets.
func algorithmOf(src *source) types.ChecksumAlgorithm {
	for _, c := range []struct {
		sum *string
		alg types.ChecksumAlgorithm
	}{
		{src.ChecksumCRC32, types.ChecksumAlgorithmCrc32}, {src.ChecksumCRC32C, types.ChecksumAlgorithmCrc32c},
		{src.ChecksumCRC64NVME, types.ChecksumAlgorithmCrc64nvme}, {src.ChecksumSHA1, types.ChecksumAlgorithmSha1},
		{src.ChecksumSHA256, types.ChecksumAlgorithmSha256},
	} {
		if c.sum != nil {
			return c.alg
		}
	}
	return ""
}

// UploadPartCopy reads a range of the source and writes a part.
func (g *gate) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (out s3response.CopyPartResult, err error) {
	var part *string
	if text(in.CopySourceRange) != "" {
		part = in.CopySourceRange
	}
	src, err := g.openSource(ctx, *in.CopySource, in.ExpectedSourceBucketOwner, backend.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch,
		IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	}, part)
	if err != nil {
		return out, err
	}
	defer src.Body.Close()
	if *src.ContentLength > maxCopy {
		return out, s3err.GetCopySourceObjectTooLargeErr(maxCopy)
	}
	upload := &s3.UploadPartInput{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, PartNumber: in.PartNumber,
		Body: src.Body, ContentLength: src.ContentLength,
	}
	parts, err := g.listParts(ctx, upload)
	if err != nil {
		return out, err
	}
	if slices.Contains(parts.ChecksumAlgorithm.Values(), parts.ChecksumAlgorithm) {
		sum, err := utils.NewHashReader(src.Body, "", utils.HashType(strings.ToLower(string(parts.ChecksumAlgorithm))))
		if err != nil {
			return out, err
		}
		upload.Body = summed{sum}
	}
	res, err := g.UploadPart(ctx, upload)
	if err != nil {
		return out, err
	}
	return s3response.CopyPartResult{
		LastModified: time.Now().UTC(), ETag: res.ETag, CopySourceVersionId: text(src.VersionId),
		ChecksumCRC32: res.ChecksumCRC32, ChecksumCRC32C: res.ChecksumCRC32C, ChecksumCRC64NVME: res.ChecksumCRC64NVME,
		ChecksumSHA1: res.ChecksumSHA1, ChecksumSHA256: res.ChecksumSHA256, ChecksumSHA512: res.ChecksumSHA512,
		ChecksumMD5: res.ChecksumMD5, ChecksumXXHASH64: res.ChecksumXXHASH64, ChecksumXXHASH3: res.ChecksumXXHASH3, ChecksumXXHASH128: res.ChecksumXXHASH128,
	}, nil
}

// listParts is an upload with its first part, for whoever may write to it.
func (g *gate) listParts(ctx context.Context, in *s3.UploadPartInput) (out s3response.ListPartsResult, err error) {
	bucket, first := *in.Bucket, int32(1)
	err = g.on(ctx, &bucket, service.Write, func(p place) error {
		out, err = p.files.ListParts(ctx, &s3.ListPartsInput{Bucket: &p.folder, Key: in.Key, UploadId: in.UploadId, MaxParts: &first})
		return err
	})
	return out, err
}

// summed is a body whose checksum is known when it was read, as an upload with
// checksums wants its parts.
type summed struct{ *utils.HashReader }

var _ middlewares.ChecksumReader = summed{}

func (s summed) Algorithm() string { return string(s.Type()) }
func (s summed) Checksum() string  { return s.Sum() }
