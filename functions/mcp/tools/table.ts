import * as admin from './admin.ts'
import * as agents from './agents.ts'
import * as blobs from './blobs.ts'
import * as collection from './collection.ts'
import * as jobs from './jobs.ts'
import * as llm from './llm.ts'
import * as mesh from './mesh.ts'
import * as names from './names.ts'
import * as ops from './ops.ts'
import * as threads from './threads.ts'
import type { Tool } from './tool.ts'

/** Every tool, in the order in which clients see them: those of `default` first. */
export const TOOLS: readonly Tool[] = [
  mesh.meshResolve,
  mesh.meshStatus,
  mesh.meshWhoami,
  blobs.blobPut,
  blobs.blobGet,
  blobs.blobStat,
  names.blobFind,
  names.nameGet,
  names.nameSet,
  threads.threadRead,
  threads.threadAppend,
  jobs.jobStart,
  jobs.jobGet,
  jobs.jobList,
  jobs.jobCancel,
  threads.threadCreate,
  threads.threadList,
  threads.threadSearch,
  threads.threadFork,
  agents.agentList,
  agents.agentSend,
  llm.usageReport,
  ops.nodeList,
  ops.blobVerify,
  ops.blobPin,
  ops.blobUnpin,
  admin.nodeDrain,
  admin.nodeRemove,
  collection.gcRun,
  collection.gcStatus,
  admin.auditSearch,
]
