// Drives an unmodified AWS SDK for JavaScript that finds all in its environment.
import { S3Client, PutObjectCommand, GetObjectCommand, ListObjectsV2Command, DeleteObjectCommand, CopyObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3'
import assert from 'node:assert'

const s3 = new S3Client({})
const Bucket = 'uploads'
await s3.send(new PutObjectCommand({ Bucket, Key: 'a/b c.txt', Body: 'hello', ContentType: 'text/plain', Metadata: { k: 'v' } }))
const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'a/b c.txt' }))
assert.equal(await got.Body.transformToString(), 'hello')
assert.equal(got.Metadata.k, 'v')
await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: 'uploads/' + encodeURIComponent('a/b c.txt') }))
assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'copy' }))).ContentType, 'text/plain')
const list = await s3.send(new ListObjectsV2Command({ Bucket }))
assert.deepEqual(list.Contents.map(o => o.Key), ['a/b c.txt', 'copy'])
await s3.send(new DeleteObjectCommand({ Bucket, Key: 'copy' }))
await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'copy' })), e => e.name === 'NoSuchKey')
await assert.rejects(s3.send(new GetObjectCommand({ Bucket: 'secret', Key: 'x' })), e => e.name === 'AccessDenied' && /read bucket\/secret/.test(e.message))
console.log('ok')
