// Asks a cluster through ioredis: node ioredis_cluster.js PORT. Prints what it found as JSON.

const Redis = require("ioredis");

async function scan(node) {
  const found = [];
  let cursor = "0";
  do {
    const [next, keys] = await node.scan(cursor, "COUNT", 7);
    cursor = next;
    found.push(...keys);
  } while (cursor !== "0");
  return found;
}

async function main() {
  const cluster = new Redis.Cluster([{ host: "127.0.0.1", port: Number(process.argv[2]) }]);
  await cluster.set("from-ioredis", "v");
  const masters = cluster.nodes("master");
  const sizes = await Promise.all(masters.map((node) => node.dbsize()));
  const scanned = (await Promise.all(masters.map(scan))).flat();
  const listed = (await Promise.all(masters.map((node) => node.keys("*")))).flat();
  const value = await cluster.get("from-ioredis");
  await cluster.del("from-ioredis");
  const ports = masters.map((node) => node.options.port);
  console.log(JSON.stringify({ ports, sizes, scanned, listed, value }));
  cluster.disconnect();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
