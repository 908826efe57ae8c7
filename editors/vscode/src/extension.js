// The client of `bpmc lsp`.

const { commands, window, workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const command = workspace.getConfiguration("bpmc").get("path", "bpmc");
  const server = { command, args: ["lsp"] };
  const documents = [{ language: "bpm" }];
  client = new LanguageClient("bpmc", "bpmc", server, { documentSelector: documents });
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(
      `bpmc: cannot start \`${command} lsp\` (${error.message}). Set "bpmc.path" to the command bpmc.`,
    );
  }
}

async function activate(context) {
  const restart = commands.registerCommand("bpmc.restart", async () => {
    if (client) {
      await client.stop();
    }
    await start();
  });
  context.subscriptions.push(restart);
  await start();
}

function deactivate() {
  return client ? client.stop() : undefined;
}

module.exports = { activate, deactivate };
