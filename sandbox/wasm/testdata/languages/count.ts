// Counts the words of its input, in AssemblyScript, as a command for wasip1 that
// knows nothing of Mayfly:
//
//	npm install assemblyscript @assemblyscript/wasi-shim
//	asc count.ts --config node_modules/@assemblyscript/wasi-shim/asconfig.json -O -o count.wasm
const chunk = new ArrayBuffer(4096);
let text = "";
for (let n = process.stdin.read(chunk); n > 0; n = process.stdin.read(chunk)) text += String.UTF8.decode(chunk.slice(0, n));
const words = text.split(" ");
const subject = process.env.get("SUBJECT");
if (text.trim() == "") {
  process.stderr.write("no words in " + subject + "\n");
  process.exit(3);
}
words.sort();
process.stdout.write(`{"words":${words.length},"first":"${words[0]}","subject":"${subject}","clock":${Date.now() > 1700000000000}}\n`);
